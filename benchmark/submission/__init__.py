"""Results as their author hands them in: a card, an archive, and the text of a pull request."""
