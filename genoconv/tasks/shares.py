"""How many processes share the memory of this one's GPU, itself included; set by whoever starts them."""

processes = 1
