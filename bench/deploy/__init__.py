"""The winner at work: models as folders of their own, and what is done with them."""
