"""The cohort: students for every combination of representations, trained together with mutual learning."""
