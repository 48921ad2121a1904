// Command report prints doc/tools.md from the results that tests kept with
// -results.
package main

import (
	"fmt"
	"os"

	"bpfd/test/suite"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: report DIR")
		os.Exit(2)
	}
	if err := suite.Report(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}
