package suite

// programRows are programs that the suite builds from its sources.
var programRows []Row
