"""What a catalogue of any size asks for: time, memory, storage, requests, money, from what small ones were seen to."""
