"""One test for each thing that the four source systems do, by the row's id in docs/source-checklist.md."""
