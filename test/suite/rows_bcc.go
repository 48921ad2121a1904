package suite

// bccRows are all of bcc's tools in Python.
var bccRows []Row
