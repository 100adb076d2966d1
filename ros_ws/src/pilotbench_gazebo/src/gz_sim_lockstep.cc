// Gazebo Harmonic (gz-sim 8): a system plug-in that lets the plant turn the model's joints, one datagram a step (lockstep.hh).
//
//   <plugin name="pilotbench::GzSimLockstep" filename="pilotbench_gz_sim_lockstep">
//     <joint>rotor_joint</joint> <joint>flange_joint</joint>     in the order of the plant's bodies
//   </plugin>
//
// Before a step the simulation stands still here until the plant has asked for one; after it the plant is answered.
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gz/common/Console.hh>
#include <gz/plugin/Register.hh>
#include <gz/sim/Entity.hh>
#include <gz/sim/EntityComponentManager.hh>
#include <gz/sim/Model.hh>
#include <gz/sim/System.hh>
#include <gz/sim/components/JointForceCmd.hh>
#include <gz/sim/components/JointPosition.hh>
#include <gz/sim/components/JointPositionReset.hh>
#include <gz/sim/components/JointVelocity.hh>
#include <gz/sim/components/JointVelocityReset.hh>
#include <sdf/Element.hh>

#include "lockstep.hh"

namespace pilotbench
{
class GzSimLockstep : public gz::sim::System,
                      public gz::sim::ISystemConfigure,
                      public gz::sim::ISystemPreUpdate,
                      public gz::sim::ISystemPostUpdate
{
  using Ecm = gz::sim::EntityComponentManager;

 public:
  void Configure(const gz::sim::Entity &entity, const std::shared_ptr<const sdf::Element> &sdf, Ecm &ecm,
                 gz::sim::EventManager &) override
  {
    const gz::sim::Model model(entity);
    for (auto element = sdf->FindElement("joint"); element; element = element->GetNextElement("joint"))
    {
      const auto name = element->Get<std::string>();
      const auto joint = model.JointByName(ecm, name);
      if (joint == gz::sim::kNullEntity)
      {
        gzerr << "pilotbench: model " << model.Name(ecm) << " has no joint " << name << "\n";
        joints_.clear();
        return;
      }
      joints_.push_back(joint);
      // The physics system writes these only where somebody has asked for them.
      ecm.CreateComponent(joint, gz::sim::components::JointPosition());
      ecm.CreateComponent(joint, gz::sim::components::JointVelocity());
    }
  }

  void PreUpdate(const gz::sim::UpdateInfo &info, Ecm &ecm) override
  {
    if (info.paused || joints_.empty() || failed_)
      return;
    if (!link_ && !meet(info))
      return;
    if (link_->due() == 0)
    {
      bool reset = false;
      link_->wait([&] { reset = true; }, [&] { return reset ? at_rest() : now(ecm); });
      if (reset)
        put_back(ecm);
    }
    for (std::size_t body = 0; link_->due() > 0 && body < joints_.size(); ++body)
      ecm.SetComponentData<gz::sim::components::JointForceCmd>(joints_[body], {link_->efforts()[body]});
  }

  void PostUpdate(const gz::sim::UpdateInfo &info, const Ecm &ecm) override
  {
    if (!info.paused && link_)
      link_->made_step([&] { return now(ecm); });
  }

 private:
  bool meet(const gz::sim::UpdateInfo &info)
  {
    try
    {
      const double step_s = std::chrono::duration<double>(info.dt).count();
      link_ = std::make_unique<Link>(joints_.size(), step_s);
    }
    catch (const std::exception &error)
    {
      gzerr << "pilotbench: " << error.what() << "\n";
      failed_ = true;
    }
    return !failed_;
  }

  /// Takes effect with the step that follows, before its efforts act.
  void put_back(Ecm &ecm) const
  {
    for (const auto joint : joints_)
    {
      ecm.SetComponentData<gz::sim::components::JointPositionReset>(joint, {0.0});
      ecm.SetComponentData<gz::sim::components::JointVelocityReset>(joint, {0.0});
    }
  }

  Bodies at_rest() const { return {std::vector<double>(joints_.size()), std::vector<double>(joints_.size())}; }

  Bodies now(const Ecm &ecm) const
  {
    Bodies bodies;
    for (const auto joint : joints_)
    {
      const auto *angle = ecm.Component<gz::sim::components::JointPosition>(joint);
      const auto *speed = ecm.Component<gz::sim::components::JointVelocity>(joint);
      bodies.angles.push_back(angle && !angle->Data().empty() ? angle->Data().front() : 0.0);
      bodies.speeds.push_back(speed && !speed->Data().empty() ? speed->Data().front() : 0.0);
    }
    return bodies;
  }

  std::vector<gz::sim::Entity> joints_;
  std::unique_ptr<Link> link_;
  bool failed_ = false;
};
}  // namespace pilotbench

GZ_ADD_PLUGIN(pilotbench::GzSimLockstep, gz::sim::System, pilotbench::GzSimLockstep::ISystemConfigure,
              pilotbench::GzSimLockstep::ISystemPreUpdate, pilotbench::GzSimLockstep::ISystemPostUpdate)
