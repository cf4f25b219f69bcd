"""What test modules share: helpers without tests of their own."""
