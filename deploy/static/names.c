/* In a client without shared libraries, names come from files and DNS alone, whatever nsswitch.conf(5) says: its other
 * services are libraries of the machine, made for its own C library, and would be loaded into this program. */

#include <nss.h>

__attribute__((constructor)) static void names(void)
{
    __nss_configure_lookup("hosts", "files dns");
    __nss_configure_lookup("passwd", "files");
    __nss_configure_lookup("group", "files");
    __nss_configure_lookup("initgroups", "files");
    __nss_configure_lookup("services", "files");
    __nss_configure_lookup("protocols", "files");
    __nss_configure_lookup("networks", "files");
}
