"""Values along a genome as files: tables, bigWig tracks, arrays. No torch here."""
