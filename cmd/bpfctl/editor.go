package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"
)

// editor reads lines from the terminal, with a history that is kept.
type editor struct {
	terminal *term.Terminal
	commands []string // how each is used
}

func newEditor(commands []string) *editor {
	e := &editor{commands: commands}
	e.terminal = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys{os.Stdin}, os.Stdout}, textPrompt)
	e.terminal.AutoCompleteCallback = e.complete
	e.terminal.History = loadHistory()
	return e
}

// keys are what the user presses. Ctrl-C drops the line that is being edited: to
// terminals of x/term it is the end, and who wants to end a poll that has just
// ended by itself would lose all that the session made.
type keys struct{ io.Reader }

func (k keys) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p[:max(len(p)/len(dropLine), 1)])
	if len(p) < len(dropLine) {
		return n, err
	}
	return copy(p, bytes.ReplaceAll(bytes.Clone(p[:n]), []byte{ctrlC}, []byte(dropLine))), err
}

const (
	ctrlC    = 3
	dropLine = "\x05\x15\r" // Ctrl-E, Ctrl-U, and an empty line
)

// line reads a line; io.EOF stands for Ctrl-D.
func (e *editor) line() (string, error) {
	fd := int(os.Stdin.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer term.Restore(fd, old)
	if width, height, err := term.GetSize(int(os.Stdout.Fd())); err == nil && width > 0 {
		e.terminal.SetSize(width, height)
	}
	line, err := e.terminal.ReadLine()
	if err == term.ErrPasteIndicator { // pasted lines are lines
		err = nil
	}
	return line, err
}

// complete completes a command's name on TAB, and shows its arguments when
// there is nothing to complete.
func (e *editor) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	name, _, arguments := strings.Cut(line, " ")
	var found []string
	for _, c := range e.commands {
		n, _, _ := strings.Cut(c, " ")
		if arguments && n == name || !arguments && pos == len(line) && strings.HasPrefix(n, strings.ToUpper(name)) {
			found = append(found, c)
		}
	}
	if len(found) == 0 {
		return line, pos, true
	}
	common := commonPrefix(found)
	if !arguments && len(common) > len(name) {
		return common, len(common), true
	}
	e.terminal.Write([]byte(strings.Join(found, "\n") + "\n"))
	return line, pos, true
}

// commonPrefix returns what the names of commands have in common, with a blank
// if they are the same.
func commonPrefix(commands []string) string {
	var names []string
	for _, c := range commands {
		n, _, _ := strings.Cut(c, " ")
		names = append(names, n)
	}
	first, last := slices.Min(names), slices.Max(names)
	if first == last {
		return first + " "
	}
	i := 0
	for i < len(first) && i < len(last) && first[i] == last[i] {
		i++
	}
	return first[:i]
}

// maxHistory is how many lines are kept, and maxEntry how long they may be:
// programs are hardly typed again.
const (
	maxHistory = 1000
	maxEntry   = 4 << 10
)

// history implements term.History over a file.
type history struct {
	path  string // "" if there is no place for it
	lines []string
}

func loadHistory() *history {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return &history{}
		}
		dir = filepath.Join(home, ".local", "state")
	}
	h := &history{path: filepath.Join(dir, "bpfd", "text_history")}
	if b, err := os.ReadFile(h.path); err == nil && len(b) > 0 {
		h.lines = strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
	}
	return h
}

// Add implements term.History. What cannot be kept is kept for this session.
func (h *history) Add(line string) {
	if line == "" || len(line) > maxEntry || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
	if h.path == "" || os.MkdirAll(filepath.Dir(h.path), 0o700) != nil {
		return
	}
	os.WriteFile(h.path, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600)
}

// Len implements term.History.
func (h *history) Len() int { return len(h.lines) }

// At implements term.History: 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
