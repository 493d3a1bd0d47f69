"""One rewrite of the networks for inference a file, named as the README's rows name it."""
