"""Reference genomes by name: manifests, downloads, the store on this machine."""
