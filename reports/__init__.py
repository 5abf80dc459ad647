"""Records to tables, verdicts, figures and pages."""
