"""What networks learn from: pairs of frames, of videos or drawn."""
