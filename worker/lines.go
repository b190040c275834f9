package worker

// lines is a set of a file's lines, a bit each.
type lines []uint64

func (l *lines) add(line int) {
	for len(*l) <= line/64 {
		*l = append(*l, 0)
	}
	(*l)[line/64] |= 1 << (line % 64)
}

func (l lines) remove(line int) {
	if line/64 < len(l) {
		l[line/64] &^= 1 << (line % 64)
	}
}

func (l lines) has(line int) bool { return line/64 < len(l) && l[line/64]&(1<<(line%64)) != 0 }
