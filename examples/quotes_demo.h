/* quotes_demo.h -- two processes side by side. */
#ifndef QUOTES_DEMO_H
#define QUOTES_DEMO_H

/* Runs the demonstration with the store of a URL; returns main's exit status: 0, when both processes saw the change
 * and the market was called no more often than the store allows. */
int demo(const char *url);

#endif
