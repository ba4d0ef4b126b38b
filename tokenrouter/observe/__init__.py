"""What happened, for those who watch: metrics, records, log lines. All are views of one `RequestRecord`."""
