// The plug-in's end of the datagram with two bodies of its own in the place of a simulator: tests both ends without one.
#include <cstdio>

#include "lockstep.hh"

int main()
{
  const double step_s = 0.0005, gains[2] = {step_s / 3e-4, step_s / 6e-3};
  double q[2] = {0, 0}, v[2] = {0, 0};
  pilotbench::Link link(2, step_s);
  const auto now = [&] { return pilotbench::Bodies{{q[0], q[1]}, {v[0], v[1]}}; };
  const auto reset = [&] { q[0] = q[1] = v[0] = v[1] = 0; };
  for (;;)
  {
    link.wait(reset, now);
    if (link.due() == 0)
      return 0;
    for (int body = 0; body < 2; ++body)
    {
      v[body] += gains[body] * link.efforts()[body];
      q[body] += step_s * v[body];
    }
    link.made_step(now);
  }
}
