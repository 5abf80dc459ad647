"""From records to tables, verdicts, figures and pages. No torch, no Ray."""
