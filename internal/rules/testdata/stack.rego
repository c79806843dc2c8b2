package team.x

x0(v) := [v]

x1(v) := g(x0(v), x0(v))

x2(v) := g(x1(v), x1(v))

x3(v) := g(x2(v), x2(v))

x4(v) := g(x3(v), x3(v))

x5(v) := g(x4(v), x4(v))

x6(v) := g(x5(v), x5(v))

x7(v) := g(x6(v), x6(v))

x8(v) := g(x7(v), x7(v))

x9(v) := g(x8(v), x8(v))

x10(v) := g(x9(v), x9(v))

x11(v) := g(x10(v), x10(v))

x12(v) := g(x11(v), x11(v))

x13(v) := g(x12(v), x12(v))

x14(v) := g(x13(v), x13(v))

x15(v) := g(x14(v), x14(v))

x16(v) := g(x15(v), x15(v))

x17(v) := g(x16(v), x16(v))

x18(v) := g(x17(v), x17(v))

x19(v) := g(x18(v), x18(v))

x20(v) := g(x19(v), x19(v))

x21(v) := g(x20(v), x20(v))

x22(v) := g(x21(v), x21(v))

x23(v) := g(x22(v), x22(v))

x24(v) := g(x23(v), x23(v))

x25(v) := g(x24(v), x24(v))

x26(v) := g(x25(v), x25(v))

x27(v) := g(x26(v), x26(v))

x28(v) := g(x27(v), x27(v))

x29(v) := g(x28(v), x28(v))

x30(v) := g(x29(v), x29(v))

g(x, y) := [x, y]

deny contains "a" if {
	x := x30("a")
	y := x30("a")
	[x, 1] = [y, 1]
}
