"""How well it works: photos measured, reports made of the results, and results checked against their originals."""
