// The datagram between the plant and a simulator: both plug-ins speak it, and neither of them is in here.
//
// The plant owns the time. It sends one request for every (multi-)step and waits for the one reply; between them the
// simulator stands still inside `Link::wait`. Nothing is lost by a lost datagram: the plant repeats a request with the
// same number, and whoever has answered that number answers again without moving.
//
// Life: the server of the simulator is started with PILOTBENCH_BODIES=ADDRESS:PORT:SESSION in its environment, where the
// plant listens. The plug-in announces itself there until the first request arrives. When the plant is gone, or says so,
// the server ends: it has no life of its own. Little-endian, as every machine that runs either simulator.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace pilotbench
{
constexpr std::uint32_t kMagic = 0x31424750;  // "PGB1"
constexpr std::size_t kMostBodies = 8;

enum class Kind : std::uint16_t
{
  step = 1,      // plant: apply the efforts for n steps
  reset = 2,     // plant: back to time zero, angle zero, at rest
  leave = 3,     // plant: the server may end
  announce = 4,  // server: here I am
  state = 5,     // server: where the bodies are now
};

struct Head
{
  std::uint32_t magic;
  Kind kind;
  std::uint16_t bodies;
  std::uint64_t session;
  std::uint64_t sequence;
};

struct Request
{
  Head head;
  std::uint64_t steps;
  std::array<double, kMostBodies> efforts;  // N·m; as many as there are bodies are sent
};

struct Reply
{
  Head head;
  std::uint64_t steps;  // since the last reset
  double time_s;        // since the last reset
  double step_s;
  std::array<double, 2 * kMostBodies> state;  // angles (rad), then speeds (rad/s)
};

static_assert(sizeof(Head) == 24 && sizeof(Request) == 32 + 8 * kMostBodies);
static_assert(sizeof(Reply) == 48 + 16 * kMostBodies);

/// Where the bodies are and how fast they turn, each in the order in which the plug-in was given its joints.
struct Bodies
{
  std::vector<double> angles, speeds;
};

/// One end of the datagram, used from the simulator's one physics thread; `stop` from anywhere.
class Link
{
 public:
  /// Throws std::runtime_error when the environment does not say where the plant is.
  Link(std::size_t bodies, double step_s) : bodies_(bodies), step_s_(step_s)
  {
    if (bodies == 0 || bodies > kMostBodies)
      throw std::runtime_error("between 1 and " + std::to_string(kMostBodies) + " joints are possible");
    const char *where = std::getenv("PILOTBENCH_BODIES");
    const std::string text = where ? where : "";
    const auto first = text.find(':'), second = text.rfind(':');
    if (first == std::string::npos || first == second)
      throw std::runtime_error("PILOTBENCH_BODIES is not ADDRESS:PORT:SESSION; the plant sets it when it starts this server");
    session_ = std::stoull(text.substr(second + 1), nullptr, 16);
    sockaddr_in plant{};
    plant.sin_family = AF_INET;
    plant.sin_port = htons(static_cast<std::uint16_t>(std::stoul(text.substr(first + 1, second - first - 1))));
    if (inet_pton(AF_INET, text.substr(0, first).c_str(), &plant.sin_addr) != 1)
      throw std::runtime_error("PILOTBENCH_BODIES names no IPv4 address: " + text);
    socket_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_ < 0 || ::connect(socket_, reinterpret_cast<sockaddr *>(&plant), sizeof plant) != 0)
      throw std::runtime_error("no datagram socket to the plant: " + std::string(std::strerror(errno)));
    const timeval look_up{0, kLookUpUs};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &look_up, sizeof look_up);
  }

  ~Link() { ::close(socket_); }
  Link(const Link &) = delete;
  Link &operator=(const Link &) = delete;

  /// The server is ending: whoever waits returns.
  void stop() { stopping_ = true; }

  /// Steps of the current request that are still to be made.
  std::uint64_t due() const { return due_; }

  const std::array<double, kMostBodies> &efforts() const { return request_.efforts; }

  /// One step has been made; answers when it was the last of the request. `now` is read only then.
  template <typename Read>
  void made_step(Read now)
  {
    ++steps_;
    if (due_ > 0 && --due_ == 0)
      answer(now());
  }

  /// Stand still until there is something to do: afterwards `due()` steps are, unless the server is ending.
  /// `reset` puts the bodies back; `now` tells where they are.
  template <typename Reset, typename Read>
  void wait(Reset reset, Read now)
  {
    auto silent_since = std::chrono::steady_clock::now();
    while (due_ == 0 && !stopping_)
    {
      if (!met_)
        send(Kind::announce, 0, now());
      Request next;
      const ssize_t length = ::recv(socket_, &next, sizeof next, 0);
      if (length < 0)
      {
        const bool nobody = errno == ECONNREFUSED;  // the kernel says: nobody has that port any more
        if (nobody && met_)
          return end();
        if (nobody)
          ::usleep(kLookUpUs);
        const auto silence = std::chrono::steady_clock::now() - silent_since;
        if (!met_ && silence > std::chrono::seconds(kLonelySeconds))
          return end();
        if (met_ && ++unasked_ % kLookUpsPerCheck == 0)
          send(Kind::announce, 0, now());  // finds out whether the plant still is; it takes no notice
        continue;
      }
      silent_since = std::chrono::steady_clock::now();
      if (!is_for_us(next, length))
        continue;
      if (met_ && next.head.sequence == request_.head.sequence)  // our reply was lost
      {
        ::send(socket_, &reply_, reply_size(), 0);
        continue;
      }
      met_ = true;
      request_ = next;
      switch (next.head.kind)
      {
        case Kind::step:
          due_ = next.steps;
          if (due_ == 0)
            answer(now());
          break;
        case Kind::reset:
          reset();
          steps_ = 0;
          answer(Bodies{std::vector<double>(bodies_), std::vector<double>(bodies_)});
          break;
        default:
          return end();
      }
    }
  }

 private:
  static constexpr int kLookUpUs = 50'000, kLonelySeconds = 20, kLookUpsPerCheck = 20;

  bool is_for_us(const Request &next, ssize_t length) const
  {
    return length == static_cast<ssize_t>(32 + 8 * bodies_) && next.head.magic == kMagic &&
           next.head.session == session_ && next.head.bodies == bodies_ && next.head.kind >= Kind::step &&
           next.head.kind <= Kind::leave;
  }

  void answer(const Bodies &bodies) { send(Kind::state, request_.head.sequence, bodies); }

  void send(Kind kind, std::uint64_t sequence, const Bodies &bodies)
  {
    Reply reply;
    reply.head = {kMagic, kind, static_cast<std::uint16_t>(bodies_), session_, sequence};
    reply.steps = steps_;
    reply.time_s = static_cast<double>(steps_) * step_s_;
    reply.step_s = step_s_;
    std::copy(bodies.angles.begin(), bodies.angles.end(), reply.state.begin());
    std::copy(bodies.speeds.begin(), bodies.speeds.end(), reply.state.begin() + static_cast<long>(bodies_));
    ::send(socket_, &reply, reply_size(), 0);
    if (kind == Kind::state)
      reply_ = reply;
  }

  std::size_t reply_size() const { return 48 + 16 * bodies_; }

  /// The plant is gone or has said so: the server ends the way it ends by Ctrl-C.
  void end()
  {
    stopping_ = true;
    std::raise(SIGINT);
  }

  const std::size_t bodies_;
  const double step_s_;
  int socket_ = -1;
  std::uint64_t session_ = 0, steps_ = 0, due_ = 0, unasked_ = 0;
  bool met_ = false;
  std::atomic<bool> stopping_{false};
  Request request_{};
  Reply reply_{};
};
}  // namespace pilotbench
