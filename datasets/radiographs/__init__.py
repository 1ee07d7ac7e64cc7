"""Radiographs as data: cards, reading, the shared preprocessing, leak-free splits and the simulated phantom."""
