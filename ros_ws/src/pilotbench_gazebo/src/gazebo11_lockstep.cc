// Gazebo 11: a model plug-in that lets the plant turn the model's joints, one datagram a step (lockstep.hh).
//
//   <plugin name="lockstep" filename="libpilotbench_gazebo11_lockstep.so">
//     <joint>rotor_joint</joint> <joint>flange_joint</joint>     in the order of the plant's bodies
//   </plugin>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gazebo/common/Console.hh>
#include <gazebo/common/Events.hh>
#include <gazebo/common/Plugin.hh>
#include <gazebo/physics/Joint.hh>
#include <gazebo/physics/Model.hh>
#include <gazebo/physics/PhysicsEngine.hh>
#include <gazebo/physics/World.hh>

#include "lockstep.hh"

namespace pilotbench
{
class Gazebo11Lockstep : public gazebo::ModelPlugin
{
 public:
  void Load(gazebo::physics::ModelPtr model, sdf::ElementPtr sdf) override
  {
    for (auto element = sdf->HasElement("joint") ? sdf->GetElement("joint") : sdf::ElementPtr(); element;
         element = element->GetNextElement("joint"))
    {
      const auto name = element->Get<std::string>();
      const auto joint = model->GetJoint(name);
      if (!joint)
      {
        gzerr << "pilotbench: model " << model->GetName() << " has no joint " << name << "\n";
        return;
      }
      joints_.push_back(joint);
    }
    try
    {
      const double step_s = model->GetWorld()->Physics()->GetMaxStepSize();
      link_ = std::make_unique<Link>(joints_.size(), step_s);
    }
    catch (const std::exception &error)
    {
      gzerr << "pilotbench: " << error.what() << "\n";
      return;
    }
    using gazebo::event::Events;
    begin_ = Events::ConnectWorldUpdateBegin([this](const auto &) { before_step(); });
    end_ = Events::ConnectWorldUpdateEnd([this] { link_->made_step([this] { return now(); }); });
    stop_ = Events::ConnectStop([this] { link_->stop(); });
    interrupt_ = Events::ConnectSigInt([this] { link_->stop(); });
  }

 private:
  void before_step()
  {
    if (link_->due() == 0)
      link_->wait([this] { reset(); }, [this] { return now(); });
    for (std::size_t body = 0; link_->due() > 0 && body < joints_.size(); ++body)
      joints_[body]->SetForce(0, link_->efforts()[body]);  // the engine forgets it after the step
  }

  void reset()
  {
    for (const auto &joint : joints_)
    {
      joint->SetPosition(0, 0.0);
      joint->SetVelocity(0, 0.0);
    }
  }

  Bodies now() const
  {
    Bodies bodies;
    for (const auto &joint : joints_)
    {
      bodies.angles.push_back(joint->Position(0));
      bodies.speeds.push_back(joint->GetVelocity(0));
    }
    return bodies;
  }

  std::vector<gazebo::physics::JointPtr> joints_;
  std::unique_ptr<Link> link_;
  gazebo::event::ConnectionPtr begin_, end_, stop_, interrupt_;
};

GZ_REGISTER_MODEL_PLUGIN(Gazebo11Lockstep)
}  // namespace pilotbench
