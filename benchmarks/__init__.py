"""Speed measured side by side with peers: `./launch.sh benchmarks.NAME --help`. Nothing here is a test."""
