package symbols

// Demangle x
func Demangle(s string) string { return s }
