"""What the wire benchmark measures, on the lab of netns-tests."""
