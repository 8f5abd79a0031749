"""What several methods share; no method is here."""
