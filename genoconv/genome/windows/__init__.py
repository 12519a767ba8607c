"""Windows on a genome: genes, tiles and BED rows, their splits and batches."""
