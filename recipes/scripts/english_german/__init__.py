"""English sentences and their German translations, made from one grammar."""
