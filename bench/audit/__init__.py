"""Images whose label does not fit what they show."""
