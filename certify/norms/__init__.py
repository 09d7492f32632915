"""How big can a linear map be: one file per method, each an enclosure with its hypotheses. Imports core and linear."""
