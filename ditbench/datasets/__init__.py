"""Real pictures: where they lie and in which format, one file a format."""
