"""Pictures, video and sound in and out; paths, time stamps, reading ahead. It knows nothing of faces."""
