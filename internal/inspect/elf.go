package inspect

import (
	"debug/elf"
	"encoding/binary"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// elfHeader is how much of a file is needed: e_ident, e_type and e_machine
// (System V ABI, chapter 4, "ELF Header").
const elfHeader = 20

// machine reads e_machine. ok is false if head is not the start of an ELF file that a
// Linux kernel would look at.
func machine(head []byte) (m elf.Machine, order elf.Data, ok bool) {
	if len(head) < elfHeader || string(head[:4]) != elf.ELFMAG {
		return 0, 0, false
	}
	class, order, version := elf.Class(head[elf.EI_CLASS]), elf.Data(head[elf.EI_DATA]), elf.Version(head[elf.EI_VERSION])
	if class != elf.ELFCLASS32 && class != elf.ELFCLASS64 || version != elf.EV_CURRENT {
		return 0, 0, false
	}
	switch order {
	case elf.ELFDATA2LSB:
		return elf.Machine(binary.LittleEndian.Uint16(head[18:])), order, true
	case elf.ELFDATA2MSB:
		return elf.Machine(binary.BigEndian.Uint16(head[18:])), order, true
	}
	return 0, 0, false
}

// native lists the machines whose programs an architecture runs: its own, and that of its
// 32-bit predecessor, which most of its kernels run as well.
var native = map[string][]elf.Machine{
	"amd64": {elf.EM_X86_64, elf.EM_386},
	"arm64": {elf.EM_AARCH64, elf.EM_ARM},
}

// runs reports whether p can run a file. BPF programs are run by every kernel.
func runs(p pipeline.Platform, m elf.Machine, order elf.Data) bool {
	if m == elf.EM_BPF {
		return true
	}
	for _, n := range native[p.Architecture] {
		if m == n && order == elf.ELFDATA2LSB {
			return true
		}
	}
	return false
}
