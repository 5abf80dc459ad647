"""DomainBed's data sets and their leave-one-domain-out tasks."""
