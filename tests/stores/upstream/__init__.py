"""What is carried to a registry behind us, what is read back, and what of that is believed."""
