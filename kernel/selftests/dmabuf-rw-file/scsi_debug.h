/* SPDX-License-Identifier: GPL-2.0 */
/* A disk in memory, whose medium may have errors; for after common.h. */
#define SCSI_DEBUG "/sys/bus/pseudo/drivers/scsi_debug/"

/* The node of the disk that scsi_debug made, which may take a moment. */
static inline int scsi_debug_open(int ms)
{
	char name[512], model[64];
	int i, fd;

	for (; ms > 0; ms -= 100) {
		for (i = 0; i < 26; i++) {
			FILE *f;
			bool ours;

			snprintf(name, sizeof(name),
				 "/sys/block/sd%c/device/model", 'a' + i);
			f = fopen(name, "r");
			if (!f)
				continue;
			ours = fgets(model, sizeof(model), f) &&
			       !strncmp(model, "scsi_debug", 10);
			fclose(f);
			snprintf(name, sizeof(name), "/dev/sd%c", 'a' + i);
			fd = ours ? open(name, O_RDWR | O_CLOEXEC) : -1;
			if (fd >= 0)
				return fd;
		}
		usleep(100000);
	}
	return -1;
}
