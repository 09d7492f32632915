"""The ground floor: plain numbers, graphs and errors; imports nothing above it."""
