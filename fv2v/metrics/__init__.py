"""What is measured of a model: pictures, sets of pictures, poses and keypoints."""
