"""Encoders and what is learnt from their features: branches, fusion, the classifier. Knows `rayon.data` and below."""
