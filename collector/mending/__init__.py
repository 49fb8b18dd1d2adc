"""差评整改 and 抽查: what every bad rating asks of the hall, who did what about it, what is late; and spot checks."""
