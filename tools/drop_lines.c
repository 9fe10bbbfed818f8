/* SPDX-License-Identifier: MIT */
/*
 * Takes the line information out of a BPF object: which line of the source each instruction comes from. Only the
 * verifier's messages show it, and it is most of what libbpf and the kernel keep of a loaded program.
 *
 *   drop_lines OBJECT
 *
 * The layout of .BTF.ext: Documentation/bpf/btf.rst of the kernel.
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gelf.h>

#define BTF_MAGIC 0xeb9f

/* Offsets are from the end of the header. */
struct part {
	uint32_t off, len;
};

struct btf_ext_header {
	uint16_t magic;
	uint8_t version, flags;
	uint32_t hdr_len;
	struct part func_info, line_info, core_relo;
};

static Elf_Data *section_data(Elf *elf, const char *name, Elf_Scn **ret)
{
	size_t names;
	Elf_Scn *s = NULL;
	GElf_Shdr sh;

	if (elf_getshdrstrndx(elf, &names) < 0)
		return NULL;
	while ((s = elf_nextscn(elf, s))) {
		const char *found =
			gelf_getshdr(s, &sh) ? elf_strptr(elf, names, sh.sh_name) : NULL;

		if (found && !strcmp(found, name)) {
			*ret = s;
			return elf_getdata(s, NULL);
		}
	}
	return NULL;
}

/* What lies behind the lines moves to where they were. Returns the new length of the section. */
static size_t drop(char *data, size_t len)
{
	struct btf_ext_header h;
	size_t begin, end;

	if (len < sizeof(h))
		return 0;
	memcpy(&h, data, sizeof(h));
	begin = (size_t)h.hdr_len + h.line_info.off;
	end = begin + h.line_info.len;
	if (h.magic != BTF_MAGIC || h.hdr_len < sizeof(h) || end > len ||
	    h.func_info.off > h.line_info.off ||
	    (h.core_relo.len && h.core_relo.off < h.line_info.off + h.line_info.len))
		return 0;
	memmove(data + begin, data + end, len - end);
	if (h.core_relo.len)
		h.core_relo.off -= h.line_info.len;
	len -= h.line_info.len;
	h.line_info.len = 0;
	memcpy(data, &h, sizeof(h));
	return len;
}

int main(int argc, char **argv)
{
	Elf_Scn *section;
	Elf_Data *data;
	Elf *elf;
	int fd;

	if (argc != 2)
		errx(2, "usage: drop_lines OBJECT");
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", argv[1]);
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_RDWR, NULL);
	data = elf ? section_data(elf, ".BTF.ext", &section) : NULL;
	if (!data || !data->d_buf)
		errx(1, "%s: there is no .BTF.ext", argv[1]);
	data->d_size = drop(data->d_buf, data->d_size);
	if (!data->d_size)
		errx(1, "%s: .BTF.ext is not laid out as expected", argv[1]);
	elf_flagdata(data, ELF_C_SET, ELF_F_DIRTY);
	if (elf_update(elf, ELF_C_WRITE) < 0)
		errx(1, "%s: %s", argv[1], elf_errmsg(-1));
	elf_end(elf);
	close(fd);
	return 0;
}
