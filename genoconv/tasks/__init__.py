"""What models are used for, as iterators over batches: embedding and scoring."""
