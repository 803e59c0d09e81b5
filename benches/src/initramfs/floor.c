/* The least that an initramfs can do to start a root on dm-verity: the same modules and the same kernel calls as nextroot's,
 * with all that there is to be found out hard-coded. It looks at no error: it is a measure, and nothing to be used.
 *
 * MODULES: how many lie at /0.ko and so on. TABLE and SECTORS: of the dm-verity device. NEXT: a program that does the rest. */
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/mount.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long result;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
			 : "rcx", "r11", "memory");
	return result;
}

#define CALL(number, a, b, c, d, e) call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

static char letter(int number)
{
	return number < 10 ? '0' + number : 'a' + number - 10;
}

static void load(char *module)
{
	for (int number = 0; number < MODULES; number++) {
		module[1] = letter(number);
		int file = CALL(SYS_open, module, O_RDONLY | O_CLOEXEC, 0, 0, 0);
		CALL(SYS_finit_module, file, "", 0, 0, 0);
		CALL(SYS_close, file, 0, 0, 0, 0);
	}
}

#ifndef NEXT
static struct {
	struct dm_ioctl head;
	struct dm_target_spec target;
	char table[1024];
} request;

static void dm(int control, unsigned long what, unsigned int flags)
{
	request.head.version[0] = DM_VERSION_MAJOR;
	request.head.version[1] = 0;
	request.head.version[2] = 0;
	request.head.data_size = sizeof(request);
	request.head.data_start = sizeof(request.head);
	request.head.flags = flags;
	for (int at = 0; at < 5; at++)
		request.head.name[at] = "root"[at];
	CALL(SYS_ioctl, control, what, &request, 0, 0);
}

static void move(const char *from, const char *to)
{
	CALL(SYS_mount, from, to, 0, MS_MOVE, 0);
}

static const char table[] = TABLE;
#endif

void begin(void)
{
	char module[] = "/0.ko";
	const char *arguments[] = { "/usr/sbin/init", 0 };

#ifdef NEXT
	load(module);
	arguments[0] = NEXT;
	CALL(SYS_execve, arguments[0], arguments, arguments + 1, 0, 0);
#else
	char stat[256];
	int control;

	CALL(SYS_mount, "dev", "/dev", "devtmpfs", MS_NOSUID, 0);
	CALL(SYS_mount, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
	CALL(SYS_mount, "sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
	CALL(SYS_mount, "run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
	load(module);
	while (CALL(SYS_stat, "/dev/vda2", stat, 0, 0, 0) < 0)
		CALL(SYS_sched_yield, 0, 0, 0, 0, 0);
	control = CALL(SYS_open, "/dev/mapper/control", O_RDWR | O_CLOEXEC, 0, 0, 0);
	dm(control, DM_DEV_CREATE, 0);
	request.head.target_count = 1;
	request.target.length = SECTORS;
	for (unsigned at = 0; at < sizeof("verity"); at++)
		request.target.target_type[at] = "verity"[at];
	for (unsigned at = 0; at < sizeof(table); at++)
		request.table[at] = table[at];
	request.head.dev = 0;
	dm(control, DM_TABLE_LOAD, DM_READONLY_FLAG);
	request.head.dev = 0;
	dm(control, DM_DEV_SUSPEND, 0);
	CALL(SYS_close, control, 0, 0, 0, 0);
	CALL(SYS_mount, "/dev/dm-0", "/root", "erofs", MS_RDONLY, 0);
	move("/dev", "/root/dev");
	move("/proc", "/root/proc");
	move("/sys", "/root/sys");
	move("/run", "/root/run");
	CALL(SYS_chdir, "/root", 0, 0, 0, 0);
	for (int number = 0; number < MODULES; number++) {
		module[1] = letter(number);
		CALL(SYS_unlink, module, 0, 0, 0, 0);
	}
	CALL(SYS_unlink, "/init", 0, 0, 0, 0);
	CALL(SYS_mount, ".", "/", 0, MS_MOVE, 0);
	CALL(SYS_chroot, ".", 0, 0, 0, 0);
	CALL(SYS_execve, arguments[0], arguments, arguments + 1, 0, 0);
#endif
	CALL(SYS_exit, 1, 0, 0, 0, 0);
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall begin\n");
