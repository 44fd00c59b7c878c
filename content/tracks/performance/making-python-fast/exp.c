#include <math.h>

void exp_all(const double *x, double *y, long n)
{
    for (long i = 0; i < n; i++)
        y[i] = exp(x[i]);
}
