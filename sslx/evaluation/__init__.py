"""What a representation is worth when few labels exist: MODES are in `modes`, `evaluate` compares them."""
