package text

import "strconv"

func ksymName(s *session, a *args) {
	sym, err := s.symbols.Kernel(a.u64(0))
	s.symbol("GET_KSYM_NAME", sym.Name, sym.Offset, sym.Module, err)
}

func ksymAddr(s *session, a *args) {
	addr, err := s.symbols.KernelAddress(a.string(0))
	s.address("GET_KSYM_ADDR", addr, err)
}

func usymName(s *session, a *args) {
	sym, err := s.symbols.User(a.int(0), a.u64(1), a.int(2) != 0)
	s.symbol("GET_USYM_NAME", sym.Name, sym.Offset, sym.Module, err)
}

func usymAddr(s *session, a *args) {
	addr, err := s.symbols.UserAddress(a.int(0), a.string(1), a.string(2))
	s.address("GET_USYM_ADDR", addr, err)
}

func (s *session) symbol(label, name string, offset uint64, module string, err error) {
	if err != nil {
		s.fail(label, err)
		return
	}
	s.ret(label, 0)
	s.out.line(name + ";" + strconv.FormatUint(offset, 10) + ";" + module + "\n")
}

func (s *session) address(label string, addr uint64, err error) {
	if err != nil {
		s.fail(label, err)
		return
	}
	s.ret(label, 0)
	s.out.line(strconv.FormatUint(addr, 10) + "\n")
}
