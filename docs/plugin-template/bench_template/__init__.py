"""Parts of one's own for meta-adv-bench."""
